{{/* What a schema cannot say: values that do not fit each other. */}}
{{- define "triton-kafka.checks" -}}
{{- $bridge := .Values.bridge -}}
{{- $scaling := $bridge.scaling -}}
{{- $drain := $bridge.settings.drain_timeout_s | default 25 -}}
{{- $needed := addf $drain 10 -}}
{{- $grace := $bridge.terminationGracePeriodSeconds -}}
{{- if lt (float64 $grace) $needed -}}
{{- fail (printf "bridge.terminationGracePeriodSeconds is %v: a bridge needs %v s to end, its bridge.settings.drain_timeout_s and 10 s to leave its group" $grace $needed) -}}
{{- end -}}
{{- $partitions := int .Values.kafka.topics.partitions -}}
{{- if and (eq $scaling.mode "none") (gt (int $bridge.replicas) $partitions) -}}
{{- fail (printf "bridge.replicas is %v, but the images topic has kafka.topics.partitions = %v: the others would have no work" $bridge.replicas $partitions) -}}
{{- end -}}
{{- if ne $scaling.mode "none" -}}
{{- if gt (int $scaling.maxReplicas) $partitions -}}
{{- fail (printf "bridge.scaling.maxReplicas is %v, but the images topic has kafka.topics.partitions = %v: the others would have no work" $scaling.maxReplicas $partitions) -}}
{{- end -}}
{{- if gt (int $scaling.minReplicas) (int $scaling.maxReplicas) -}}
{{- fail "bridge.scaling.minReplicas is above bridge.scaling.maxReplicas" -}}
{{- end -}}
{{- if le (int $scaling.cooldownSeconds) (int $grace) -}}
{{- fail (printf "bridge.scaling.cooldownSeconds is %v: bridges that end for %v s (bridge.terminationGracePeriodSeconds) would be counted as if they still worked" $scaling.cooldownSeconds $grace) -}}
{{- end -}}
{{- end -}}
{{- if and (eq $scaling.mode "hpa") (lt (int $scaling.minReplicas) 1) -}}
{{- fail "bridge.scaling.minReplicas is 0: without a bridge there is no bridge's metric, so only mode keda can go down to none" -}}
{{- end -}}
{{- if and .Values.triton.scaling.enabled (gt (int .Values.triton.scaling.minReplicas) (int .Values.triton.scaling.maxReplicas)) -}}
{{- fail "triton.scaling.minReplicas is above triton.scaling.maxReplicas" -}}
{{- end -}}
{{- $topics := .Values.kafka.topics -}}
{{- if lt (len (list $topics.images $topics.predictions $topics.deadLetters | uniq)) 3 -}}
{{- fail "kafka.topics.images, .predictions and .deadLetters are three topics: a bridge would read what it wrote" -}}
{{- end -}}
{{- range $value, $topic := .Values.bridge.settings.routes | default dict -}}
{{- if or (has $topic (list $topics.images $topics.deadLetters)) (not (regexMatch "^[a-zA-Z0-9._-]{1,249}$" $topic)) -}}
{{- fail (printf "bridge.settings.routes: %s goes to %q: it must be a topic of predictions" $value $topic) -}}
{{- end -}}
{{- end -}}
{{- if .Values.strimzi.enabled -}}
{{- $resources := dict -}}
{{- range prepend (include "triton-kafka.written" . | fromJsonArray) $topics.images -}}
{{- $name := include "triton-kafka.topic" (dict "cluster" "" "topic" .) -}}
{{- if hasKey $resources $name -}}
{{- fail (printf "topics %s and %s differ only in letters that the names of their KafkaTopics cannot have: rename one" (get $resources $name) .) -}}
{{- end -}}
{{- $_ := set $resources $name . -}}
{{- end -}}
{{- end -}}
{{- if not .Values.strimzi.enabled -}}
{{- $sasl := .Values.kafka.sasl -}}
{{- if and $sasl.mechanism (not (and $sasl.username $sasl.passwordSecret.name)) -}}
{{- fail "kafka.sasl.mechanism is set: kafka.sasl.username and kafka.sasl.passwordSecret.name say who logs in" -}}
{{- end -}}
{{- if and (or .Values.kafka.tls.caSecret .Values.kafka.tls.clientSecret) (not .Values.kafka.tls.enabled) -}}
{{- fail "kafka.tls names a Secret, but kafka.tls.enabled is false" -}}
{{- end -}}
{{- end -}}
{{- $models := .Values.triton.modelRepository -}}
{{- if and (eq $models.source "persistentVolumeClaim") (not $models.persistentVolumeClaim.claimName) -}}
{{- fail "triton.modelRepository.persistentVolumeClaim.claimName is empty: it names the claim that holds the model repository" -}}
{{- end -}}
{{- if and (eq $models.source "objectStorage") (not $models.objectStorage.url) -}}
{{- fail "triton.modelRepository.objectStorage.url is empty: s3://BUCKET/PATH or gs://BUCKET/PATH" -}}
{{- end -}}
{{- if and (eq $models.source "image") (not $models.image.repository) -}}
{{- fail "triton.modelRepository.image.repository is empty: it names the image that holds the model repository" -}}
{{- end -}}
{{- end -}}
