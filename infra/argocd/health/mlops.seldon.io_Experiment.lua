-- An experiment is healthy when all its candidates serve and the traffic is split.
local is = {}
for _, condition in ipairs((obj.status and obj.status.conditions) or {}) do
  is[condition.type] = condition
end
if is["Ready"] and is["Ready"].status == "True" then
  return { status = "Healthy", message = "The candidates share the traffic" }
end
local experiment = is["ExperimentReady"]
if experiment and experiment.status == "False" and (experiment.message or "") ~= "" then
  return { status = "Degraded", message = experiment.message }
end
return { status = "Progressing", message = "Waiting for the candidates" }
