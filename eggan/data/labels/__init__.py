"""AU labels of photographs, from OpenFace, py-feat or a table of the user's."""
