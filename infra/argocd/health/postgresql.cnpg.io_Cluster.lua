-- The database is healthy when all its instances are ready. One whose write-ahead log is not archived works, but
-- could not be restored: that is Degraded.
local status = obj.status or {}
local phase = status.phase or "Waiting for the operator"
local stuck = {
  ["Cluster is unrecoverable and needs manual intervention"] = true,
  ["Cluster has incomplete or invalid image catalog"] = true,
  ["Cluster cannot execute instance online upgrade due to missing architecture binary"] = true,
  ["Cluster cannot proceed to reconciliation due to an unknown plugin being required"] = true,
  ["Unable to create required cluster objects"] = true,
  ["Waiting for user action"] = true,
}
for _, condition in ipairs(status.conditions or {}) do
  if condition.type == "cnpg.io/hibernation" and condition.status == "True" then
    return { status = "Suspended", message = condition.message or "Hibernated" }
  end
  if condition.type == "ContinuousArchiving" and condition.status == "False" then
    return { status = "Degraded", message = "No archive: " .. (condition.message or condition.reason or "") }
  end
end
if stuck[phase] then
  return { status = "Degraded", message = phase .. ": " .. (status.phaseReason or "") }
end
local instances = (obj.spec and obj.spec.instances) or 1
local ready = status.readyInstances or 0
if phase == "Cluster in healthy state" and ready >= instances then
  return { status = "Healthy", message = phase }
end
return { status = "Progressing", message = phase .. " (" .. ready .. " of " .. instances .. " instances ready)" }
