"""How dermbatch is built, deployed, and run on one machine without an account."""
