"""Knights and knaves: who tells the truth?"""
