-- One row an airport and hour of the day, with what was known a week before: how many flights left then.
-- An hour in which nothing left is a row too, so the grid is made first and counted into.
WITH counted AS (
  SELECT
    DATE(year, month, day) AS day,
    origin,
    hour,
    COUNTIF(dep_time IS NOT NULL) AS departures
  FROM flights
  WHERE DATE(year, month, day) >= DATE_SUB(@start, INTERVAL 28 DAY)
    AND DATE(year, month, day) < @end
  GROUP BY 1, 2, 3
),
grid AS (
  SELECT day, origin, hour
  FROM UNNEST(GENERATE_DATE_ARRAY(DATE_SUB(@start, INTERVAL 28 DAY), DATE_SUB(@end, INTERVAL 1 DAY))) AS day
  CROSS JOIN (SELECT DISTINCT origin FROM flights)
  CROSS JOIN UNNEST(GENERATE_ARRAY(5, 22)) AS hour
),
filled AS (
  SELECT day, origin, hour, COALESCE(departures, 0) AS departures
  FROM grid
  LEFT JOIN counted USING (day, origin, hour)
),
lagged AS (
  SELECT
    day,
    origin,
    hour,
    departures,
    LAG(departures, 7) OVER (hourly) AS week_ago,
    (
      LAG(departures, 7) OVER (hourly) + LAG(departures, 14) OVER (hourly)
      + LAG(departures, 21) OVER (hourly) + LAG(departures, 28) OVER (hourly)
    ) / 4 AS mean_of_four_weeks,
    LAG(departures, 7) OVER (hourly) - LAG(departures, 14) OVER (hourly) AS change_of_a_week
  FROM filled
  WINDOW hourly AS (PARTITION BY origin, hour ORDER BY day)
)
SELECT
  departures,
  day,
  origin,
  hour,
  FORMAT_DATE('%a', day) AS weekday,
  week_ago,
  mean_of_four_weeks,
  change_of_a_week,
  SUM(week_ago) OVER (PARTITION BY day, origin) AS whole_day_week_ago
FROM lagged
WHERE day >= @start
  AND day < @end
