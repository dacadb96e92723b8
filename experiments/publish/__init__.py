"""From results to what people read: tables, figures, claims, README, paper."""
