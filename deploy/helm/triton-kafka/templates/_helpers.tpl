{{/* The names of everything: RELEASE-bridge, RELEASE-triton, ... */}}
{{- define "triton-kafka.name" -}}
{{- printf "%s-%s" (.root.Release.Name | trunc 40 | trimSuffix "-") .part -}}
{{- end -}}

{{- define "triton-kafka.selector" -}}
app.kubernetes.io/name: triton-kafka
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end -}}

{{- define "triton-kafka.labels" -}}
{{ include "triton-kafka.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- define "triton-kafka.image" -}}
{{- printf "%s:%s" .image.repository (.image.tag | default .root.Chart.AppVersion) -}}
{{- end -}}

{{/* What every container may do: what the restricted Pod Security Standard asks, and no writing. */}}
{{- define "triton-kafka.confined" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* User 1000 is triton-server in NVIDIA's image, and app in ours. */}}
{{- define "triton-kafka.unprivileged" -}}
runAsNonRoot: true
runAsUser: 1000
runAsGroup: 1000
fsGroup: 1000
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "triton-kafka.spread" -}}
{{- range .root.Values.topologyKeys }}
- maxSkew: 1
  topologyKey: {{ . }}
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "triton-kafka.selector" $ | nindent 6 }}
{{- end }}
{{- end -}}

{{- define "triton-kafka.placement" -}}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with include "triton-kafka.spread" . }}
topologySpreadConstraints:
  {{- . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* How Kafka is reached: as the values say, or as Strimzi makes it. */}}
{{- define "triton-kafka.kafka" -}}
{{- if .Values.strimzi.enabled -}}
{{- $cluster := include "triton-kafka.name" (dict "root" . "part" "kafka") -}}
{{- $user := include "triton-kafka.name" (dict "root" . "part" "bridge") -}}
brokers: {{ $cluster }}-kafka-bootstrap.{{ .Release.Namespace }}.svc:9093
tls: {enabled: true, caSecret: {{ $cluster }}-cluster-ca-cert, clientSecret: ""}
sasl:
  mechanism: SCRAM-SHA-512
  username: {{ $user }}
  passwordSecret: {name: {{ $user }}, key: password}
{{- else -}}
{{- toYaml (pick .Values.kafka "brokers" "tls" "sasl") -}}
{{- end -}}
{{- end -}}

{{/* The topics that a bridge writes: those of its routes, too. A list in JSON. */}}
{{- define "triton-kafka.written" -}}
{{- $topics := .Values.kafka.topics -}}
{{- $routes := .Values.bridge.settings.routes | default dict | values | sortAlpha -}}
{{- concat (list $topics.predictions $topics.deadLetters) $routes | uniq | toJson -}}
{{- end -}}

{{/* The name of a topic's resource: names of topics may hold what those of resources may not. */}}
{{- define "triton-kafka.topic" -}}
{{- printf "%s-%s" .cluster .topic | lower | replace "_" "-" -}}
{{- end -}}

{{- define "triton-kafka.group" -}}
{{- .Values.bridge.settings.group | default (printf "bridge-%s" .Values.triton.model) -}}
{{- end -}}

{{/* An id that no other bridge of this Kafka has, wherever it runs, and that survives its pod. */}}
{{- define "triton-kafka.identity" -}}
{{- printf "%s.$(POD_NAME)" .Release.Namespace -}}
{{- end -}}

{{- define "triton-kafka.static" -}}
{{- $chosen := .Values.bridge.staticMembership -}}
{{- if or (eq (toString $chosen) "true") (and (eq (toString $chosen) "auto") (eq .Values.bridge.scaling.mode "none")) -}}
true
{{- end -}}
{{- end -}}

{{/* The lag for which there is one bridge, in images. */}}
{{- define "triton-kafka.lagThreshold" -}}
{{- mulf .Values.bridge.scaling.imagesPerSecond .Values.bridge.scaling.maxWaitSeconds | floor | int64 | max 1 -}}
{{- end -}}
