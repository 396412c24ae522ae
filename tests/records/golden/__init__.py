"""Files of every format there was, which every later version reads. They are never written again."""
