-- Labels as they become known: whether a flight was late, once it has landed. The id is the one that clients give their
-- requests, as "2013-03-16 UA 1545". What was cancelled or diverted never gets a label.
SELECT
  CONCAT(FORMAT_DATE('%Y-%m-%d', DATE(f.year, f.month, f.day)), ' ', f.carrier, ' ', CAST(f.flight AS STRING))
    AS flywheel_request,
  IF(f.arr_delay > 15, 1, 0) AS late,
  DATETIME_ADD(
    DATETIME(f.year, f.month, f.day, f.hour, f.minute, 0),
    INTERVAL CAST(f.dep_delay + f.air_time AS INT64) MINUTE
  ) AS arrived
FROM flights AS f
WHERE f.arr_delay IS NOT NULL
  AND DATETIME_ADD(
    DATETIME(f.year, f.month, f.day, f.hour, f.minute, 0),
    INTERVAL CAST(f.dep_delay + f.air_time AS INT64) MINUTE
  ) >= @start
  AND DATETIME_ADD(
    DATETIME(f.year, f.month, f.day, f.hour, f.minute, 0),
    INTERVAL CAST(f.dep_delay + f.air_time AS INT64) MINUTE
  ) < @end
