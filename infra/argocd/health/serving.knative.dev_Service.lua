-- Ready speaks of the newest revision only when Knative has seen the newest generation. Scaled to zero is Ready.
local status = obj.status or {}
if status.observedGeneration == nil or status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "Waiting for Knative" }
end
for _, condition in ipairs(status.conditions or {}) do
  if condition.type == "Ready" and condition.status == "True" then
    return { status = "Healthy", message = "Revision " .. (status.latestReadyRevisionName or "") .. " is ready" }
  end
  if condition.type == "Ready" and condition.status == "False" then
    return { status = "Degraded", message = condition.message or condition.reason or "Not ready" }
  end
end
return { status = "Progressing", message = "Waiting for the revision" }
