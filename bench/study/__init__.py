"""Where does each method win: a scan by the fast lab (EXPLORATION), pages from its figures and from those of real runs."""
