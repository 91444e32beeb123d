-- The view `predictions` of the table that json-to-postgres.properties fills: one row an image.
CREATE VIEW predictions AS
SELECT DISTINCT ON (value ->> 'id')
       value ->> 'id' AS id,
       value ->> 'model' AS model,
       value ->> 'version' AS version,
       value ->> 'task' AS task,
       best ->> 'label' AS label,
       (best ->> 'score')::double precision AS score,
       to_timestamp((value #>> '{stamps_ns,inferred}')::numeric / 1000000000) AS inferred,
       value AS prediction
FROM predictions_json,
     LATERAL (SELECT prediction::jsonb AS value) AS parsed,
     LATERAL (SELECT coalesce(value #> '{top,0}', value #> '{detections,0}') AS best) AS chosen
ORDER BY value ->> 'id', "__connect_partition", "__connect_offset";
