"""What `python -m eval.report` is made of: reading run folders, pictures, tables and one page.

run folders -> read_runs -> groups -> curves, training (pictures) and tables, differences, samples -> page
"""
