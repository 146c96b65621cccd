-- Whoever tells of thresholds marks what was told as alerts do.
DROP TABLE budget_crossings;
