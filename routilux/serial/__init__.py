"""Values and objects of users, as bytes or as plain data, and back."""
