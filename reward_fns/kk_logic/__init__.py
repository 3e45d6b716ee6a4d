"""Knights and knaves: whose role does an answer say, in lines or in sentences?"""
