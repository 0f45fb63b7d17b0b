"""Reports: tracked runs -> tidy frame -> tables, figures and one page. Nothing here trains."""
