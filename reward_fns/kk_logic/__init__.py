"""Knights and knaves: reading the roles that an answer states, in lines or in sentences."""
