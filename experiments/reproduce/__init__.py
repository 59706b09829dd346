"""Published figures, reproduced by the published protocol or one whose differences are said."""
