-- How many bytes the bodies of the log's events have, counted on from here.
INSERT INTO facts SELECT 'event_bytes', coalesce(sum(length(body)), 0) FROM events;
