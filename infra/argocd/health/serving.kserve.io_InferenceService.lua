-- A version that cannot be loaded leaves the one before in service: Ready stays True, and this is Degraded.
local status = obj.status or {}
local model = status.modelStatus or {}
local failure = model.lastFailureInfo or {}
if model.transitionStatus == "BlockedByFailedLoad" or model.transitionStatus == "InvalidSpec" then
  return { status = "Degraded", message = model.transitionStatus .. ": " .. (failure.message or failure.reason or "") }
end
if status.observedGeneration ~= nil and status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "Waiting for KServe" }
end
for _, condition in ipairs(status.conditions or {}) do
  if condition.type == "Stopped" and condition.status == "True" then
    return { status = "Suspended", message = condition.message or "Stopped" }
  end
end
for _, condition in ipairs(status.conditions or {}) do
  if condition.type == "Ready" and condition.status == "True" and model.transitionStatus ~= "InProgress" then
    return { status = "Healthy", message = "Serves at " .. (status.url or "") }
  end
  if condition.type == "Ready" and condition.status == "False" and failure.message then
    return { status = "Degraded", message = failure.message }
  end
end
return { status = "Progressing", message = "The model is being loaded" }
