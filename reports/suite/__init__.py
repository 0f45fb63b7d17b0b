"""Reports of suites: tracked runs -> tidy frame -> tables, figures and one page."""
