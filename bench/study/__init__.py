"""Where does each method win: a scan by the fast lab (EXPLORATION), and pages from its figures and real ones."""
