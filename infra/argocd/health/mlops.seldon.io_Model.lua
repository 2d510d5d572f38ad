-- Seldon says with the same Ready=False that a model loads and that it cannot be loaded: the reason tells.
local failures = {
  ModelFailed = true, LoadFailed = true, ScheduleFailed = true, ModelTerminateFailed = true, UnloadFailed = true,
}
local status = obj.status or {}
for _, condition in ipairs(status.conditions or {}) do
  local counts = condition.type == "ModelReady" or condition.type == "Ready"
  if counts and condition.status == "False" and failures[condition.reason or ""] then
    return { status = "Degraded", message = condition.reason .. ": " .. (condition.message or "") }
  end
end
for _, condition in ipairs(status.conditions or {}) do
  if condition.type == "Ready" and condition.status == "True" then
    return { status = "Healthy", message = (status.availableReplicas or 0) .. " replicas serve" }
  end
end
return { status = "Progressing", message = "The model is being loaded" }
