"""Where private keys are used: making and changing the repository. Never on hosts."""
