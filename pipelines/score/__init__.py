"""Score an archive: plan -> score -> publish."""
