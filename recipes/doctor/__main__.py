"""`python -m recipes.doctor`."""

import sys

from recipes.doctor.report import main

sys.exit(main())
