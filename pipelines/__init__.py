"""What each verb does, on Ray; one room per verb, and below them what they share."""
