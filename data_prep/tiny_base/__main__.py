"""`python -m data_prep.tiny_base --help`."""

from data_prep.tiny_base.build import main

raise SystemExit(main())
