SELECT insult, spam, threat, comment, country
FROM comments
WHERE day >= @start AND day < @end
