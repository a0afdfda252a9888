"""What is written: the ledger below OUT, who may write, what readers see, what was erased."""
