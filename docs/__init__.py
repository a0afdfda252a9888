"""The scripts that write the pages and pictures which follow from the code: `make docs` runs them."""
