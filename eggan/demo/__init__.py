"""`eggan demo`: a page with live sliders over photographs, served to this machine alone."""
