"""Mathematical answers: is what is in the tags or the box equal to the known answer?"""
