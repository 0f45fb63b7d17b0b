"""Reports of studies: figures, tables and one page."""
