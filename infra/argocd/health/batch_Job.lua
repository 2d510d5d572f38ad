-- A release Job waits until its model version is there, its gate holds and its first cohort is active. When it
-- fails, the application is Degraded, and says which one was not taken. Other Jobs: the same, in Kubernetes' words.
local labels = (obj.metadata and obj.metadata.labels) or {}
local conditions = (obj.status and obj.status.conditions) or {}
local name = (obj.metadata and obj.metadata.name) or "?"
local subject = "Job " .. name
if labels["app.kubernetes.io/component"] == "release" then
  subject = "Release " .. (labels["fededge.dev/model"] or name)
end

-- FailureTarget comes before Failed, while the pods of a job that has failed are still ending.
for _, condition in ipairs(conditions) do
  if condition.status == "True" and (condition.type == "Failed" or condition.type == "FailureTarget") then
    return { status = "Degraded", message = subject .. " failed: " .. (condition.message or condition.reason or "") }
  end
end
for _, condition in ipairs(conditions) do
  if condition.status == "True" and condition.type == "Complete" then
    return { status = "Healthy", message = subject .. " is complete" }
  end
  if condition.status == "True" and condition.type == "Suspended" then
    return { status = "Suspended", message = subject .. " is suspended" }
  end
end
return { status = "Progressing", message = subject .. " is under way" }
