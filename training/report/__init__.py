"""What people read: tables, plots and the model card."""
