"""What operators do with a stack: fill it, try it out, look into it. The `dermbatch` command."""
