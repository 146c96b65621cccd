-- What was spent before activity was kept, from the sums by hour. Their requests are those that were served, so that they say nothing
-- of errors, and are left out.
INSERT INTO activity (kind, subject, hour, organization, project, model, requests, errors, unpriced, cost)
    SELECT 'key', key_id, bucket, organization, MAX(project), '', 0, 0, SUM(unpriced), SUM(cost)
    FROM rollups WHERE width = 3600000 AND key_id <> '' GROUP BY key_id, bucket, organization;
INSERT INTO activity (kind, subject, hour, organization, project, model, requests, errors, unpriced, cost)
    SELECT 'project', project, bucket, organization, project, '', 0, 0, SUM(unpriced), SUM(cost)
    FROM rollups WHERE width = 3600000 AND project <> '' GROUP BY project, bucket, organization;
INSERT INTO activity (kind, subject, hour, organization, project, model, requests, errors, unpriced, cost)
    SELECT 'model', project || '/' || model, bucket, organization, project, model, 0, 0, SUM(unpriced), SUM(cost)
    FROM rollups WHERE width = 3600000 AND project <> '' AND model <> '' GROUP BY project, model, bucket, organization;
