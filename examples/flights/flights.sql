-- One row a flight that left New York, with what is known about it before it leaves.
-- A flight is late when it arrives more than 15 minutes after schedule. Cancelled and diverted flights have no arrival:
-- they stay out.
SELECT
  IF(f.arr_delay > 15, 1, 0) AS late,
  f.carrier,
  f.origin,
  f.dest,
  f.distance,
  f.hour,
  f.hour * 60 + f.minute AS minute_of_day,
  FORMAT_DATE('%a', DATE(f.year, f.month, f.day)) AS weekday,
  f.year - p.year AS plane_age,
  p.seats,
  p.manufacturer,
  w.temp,
  w.dewp,
  w.humid,
  w.wind_speed,
  w.precip,
  w.pressure,
  w.visib,
  f.flight,
  f.time_hour AS departs,
  -- No features, since nobody knows them before the flight leaves or needs them: what others come from, so that the data
  -- gate can hold the one against the other. A clock strikes every day anew, hence the remainder.
  f.arr_delay AS delay,
  MOD(
    DIV(f.arr_time, 100) * 60 + MOD(f.arr_time, 100) - DIV(f.sched_arr_time, 100) * 60 - MOD(f.sched_arr_time, 100)
    + 1680, 1440
  ) - 240 AS delay_by_clock,
  IFNULL(w.wind_gust - 3.45, w.wind_speed) AS wind_at_most, -- gusts are three knots above the wind, or not told
  IF(w.wind_dir = 0, 1, 0) AS calm, -- calm air has no direction, for which the report says 0
  DATE_DIFF(DATE(w.year, w.month, w.day), DATE(f.year, f.month, f.day), DAY) * 24 + w.hour - f.hour AS report_off
FROM flights AS f
LEFT JOIN planes AS p ON p.tailnum = f.tailnum
LEFT JOIN weather AS w ON w.origin = f.origin AND w.time_hour = f.time_hour
WHERE f.arr_delay IS NOT NULL
  AND DATE(f.year, f.month, f.day) >= @start
  AND DATE(f.year, f.month, f.day) < @end
