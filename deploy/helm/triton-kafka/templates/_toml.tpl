{{/* One value as TOML. Strings and lists of JSON are TOML's, too; numbers are floats to Helm. */}}
{{- define "triton-kafka.toml.value" -}}
{{- if kindIs "float64" . -}}
{{- if eq . (floor .) }}{{ int64 . }}{{ else }}{{ toString . }}{{ end -}}
{{- else -}}
{{- toJson . -}}
{{- end -}}
{{- end -}}

{{/* Settings by name, and tables of one level behind them. */}}
{{- define "triton-kafka.toml" -}}
{{- range $name, $value := . }}
{{- if not (kindIs "map" $value) }}
{{ $name }} = {{ include "triton-kafka.toml.value" $value }}
{{- end }}
{{- end }}
{{- range $name, $value := . }}
{{- if and (kindIs "map" $value) $value }}

[{{ $name }}]
{{- range $key, $inner := $value }}
{{ toJson $key }} = {{ include "triton-kafka.toml.value" $inner }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The bridge's settings file: what the chart knows, then what bridge.settings adds. */}}
{{- define "triton-kafka.bridge.toml" -}}
{{- $kafka := include "triton-kafka.kafka" . | fromYaml -}}
{{- $options := dict -}}
{{- $secured := ternary "SASL_" "" (ne $kafka.sasl.mechanism "") -}}
{{- if or $kafka.tls.enabled $kafka.sasl.mechanism -}}
{{- $_ := set $options "security.protocol" (printf "%s%s" $secured (ternary "SSL" "PLAINTEXT" $kafka.tls.enabled)) -}}
{{- end -}}
{{- if $kafka.tls.caSecret -}}
{{- $_ := set $options "ssl.ca.location" "/kafka/ca.crt" -}}
{{- end -}}
{{- if $kafka.tls.clientSecret -}}
{{- $_ := set $options "ssl.certificate.location" "/kafka/user.crt" -}}
{{- $_ := set $options "ssl.key.location" "/kafka/user.key" -}}
{{- end -}}
{{- if $kafka.sasl.mechanism -}}
{{- $_ := set $options "sasl.mechanism" $kafka.sasl.mechanism -}}
{{- $_ := set $options "sasl.username" $kafka.sasl.username -}}
{{- end -}}
{{- $triton := include "triton-kafka.name" (dict "root" . "part" "triton") -}}
{{- $known := dict
  "brokers" $kafka.brokers
  "images_topic" .Values.kafka.topics.images
  "predictions_topic" .Values.kafka.topics.predictions
  "dead_letters_topic" .Values.kafka.topics.deadLetters
  "group" (include "triton-kafka.group" .)
  "triton" (printf "dns:///%s.%s.svc:8001" $triton .Release.Namespace)
  "model" .Values.triton.model
  "http_host" "0.0.0.0"
  "http_port" 8080
  "kafka" $options -}}
{{- include "triton-kafka.toml" (mergeOverwrite $known (deepCopy .Values.bridge.settings)) | trim -}}
{{- end -}}
