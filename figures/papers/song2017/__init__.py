"""Feature competition: what labels let a network learn (Song, Zhao and Ermon 2017)."""
