-- One row a photo: what a moderator said that it shows, and the bytes of the file.
SELECT
  id,
  taken,
  digit,
  photo
FROM photos
WHERE taken >= @start
  AND taken < @end
