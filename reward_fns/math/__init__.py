"""Mathematical answers: is the answer in the tags or the box equal to the known one?"""
