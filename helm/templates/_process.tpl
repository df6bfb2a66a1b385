{{/* The command lines of `rookery node` and `rookery router`. tests/chart.rs compares every flag and variable with those that the
     program knows, so keep one flag a line. Flags instead of variables, because the program refuses an unknown flag. */}}

{{/* Flags of both. */}}
{{- define "rookery.sharedArgs" -}}
- --redis-prefix={{ .Values.redis.prefix }}
{{- if .Values.redis.external.cluster }}
- --redis-cluster=true
{{- end }}
{{- if include "rookery.jwksConfigMap" . }}
- --jwks=/etc/rookery/jwks/{{ .Values.auth.jwks.key }}
{{- end }}
{{- with .Values.auth.issuer }}
- --jwt-issuer={{ . }}
{{- end }}
{{- with .Values.auth.audience }}
- --jwt-audience={{ . }}
{{- end }}
{{- with .Values.auth.userClaim }}
- --user-claim={{ . }}
{{- end }}
- --drain-window={{ .Values.drainWindow }}
- --log-level={{ .Values.log.level }}
- --log-format={{ .Values.log.format }}
{{- end -}}

{{- define "rookery.nodeArgs" -}}
{{- $host := printf "$(POD_NAME).%s-node.%s.svc.%s" (include "rookery.fullname" .) .Release.Namespace .Values.clusterDomain -}}
{{- $ports := .Values.node.ports -}}
- --node-id=$(POD_NAME)
- {{ printf "--peer-listen=%s:%v" .Values.listenAddress $ports.peer | quote }}
- {{ printf "--operations-listen=%s:%v" .Values.listenAddress $ports.operations | quote }}
- --advertise-peer={{ $host }}:{{ $ports.peer }}
{{- if .Values.node.zoneFrom }}
- --zone=$(NODE_ZONE)
{{- end }}
- --data=/data
- --shards={{ .Values.cluster.shards }}
- --expect-nodes={{ include "rookery.expectNodes" . }}
{{- with .Values.cluster.replicas }}
- --replicas={{ . }}
{{- end }}
{{- with .Values.cluster.commitLevel }}
- --commit-level={{ . }}
{{- end }}
{{ include "rookery.sharedArgs" . }}
{{- include "rookery.settingArgs" .Values.node.settings }}
{{- end -}}

{{/* As many as there were at the first install, where that can be seen: it counts only then, and another number would start every
     node anew when one is added. */}}
{{- define "rookery.expectNodes" -}}
{{- $running := lookup "apps/v1" "StatefulSet" .Release.Namespace (printf "%s-node" (include "rookery.fullname" .)) | default dict -}}
{{- $first := dig "metadata" "annotations" "rookery/expect-nodes" "" $running -}}
{{- .Values.cluster.expectNodes | default $first | default .Values.node.replicas -}}
{{- end -}}

{{- define "rookery.routerArgs" -}}
- {{ printf "--listen=%s:%v" .Values.listenAddress .Values.router.ports.client | quote }}
- {{ printf "--operations-listen=%s:%v" .Values.listenAddress .Values.router.ports.operations | quote }}
{{- with .Values.router.corsOrigins }}
- {{ printf "--cors-origins=%s" (join "," .) | quote }}
{{- end }}
{{ include "rookery.sharedArgs" . }}
{{- include "rookery.settingArgs" .Values.router.settings }}
{{- end -}}

{{/* Flags by name, of `node.settings` and `router.settings`; values.schema.json lists those that there are. */}}
{{- define "rookery.settingArgs" -}}
{{- range $flag, $value := . }}
- --{{ $flag }}={{ if kindIs "float64" $value }}{{ int64 $value }}{{ else }}{{ $value }}{{ end }}
{{- end }}
{{- end -}}

{{/* Name of the ConfigMap with the JWKS document, if there is one. */}}
{{- define "rookery.jwksConfigMap" -}}
{{- if .Values.auth.jwks.existingConfigMap -}}
{{- .Values.auth.jwks.existingConfigMap -}}
{{- else if .Values.auth.jwks.keys -}}
{{- include "rookery.fullname" . }}-jwks
{{- end -}}
{{- end -}}

{{/* Name of the Secret with a secret: one of yours, or the chart's own. */}}
{{- define "rookery.jwtSecretName" -}}
{{- default (printf "%s-keys" (include "rookery.fullname" .)) .Values.auth.hs256.existingSecret -}}
{{- end -}}
{{- define "rookery.jwtSecretKey" -}}
{{- ternary .Values.auth.hs256.existingSecretKey "jwt-secret" (not (empty .Values.auth.hs256.existingSecret)) -}}
{{- end -}}
{{- define "rookery.clusterKeyName" -}}
{{- default (printf "%s-keys" (include "rookery.fullname" .)) .Values.clusterKey.existingSecret -}}
{{- end -}}
{{- define "rookery.redisUrlsName" -}}
{{- $given := ternary .Values.redis.internal.existingSecret .Values.redis.external.existingSecret .Values.redis.internal.enabled -}}
{{- default (printf "%s-redis" (include "rookery.fullname" .)) $given -}}
{{- end -}}

{{/* Whether the password of the chart's own Redis is in a Secret of yours. */}}
{{- define "rookery.redisPasswordGiven" -}}
{{- if and .Values.redis.internal.enabled .Values.redis.internal.existingSecret -}}
yes
{{- end -}}
{{- end -}}

{{/* Secrets come as files: the environment of a process is easier to look into. */}}
{{- define "rookery.sharedEnv" -}}
- name: ROOKERY_CLUSTER_KEY_FILE
  value: /run/secrets/rookery/cluster-key
- name: ROOKERY_REDIS_FILE
  value: /run/secrets/rookery/redis-urls
{{- if .Values.auth.hs256.enabled }}
- name: ROOKERY_JWT_SECRET_FILE
  value: /run/secrets/rookery/jwt-secret
{{- end }}
{{- end -}}

{{- define "rookery.sharedMounts" -}}
- name: secrets
  mountPath: /run/secrets/rookery
  readOnly: true
{{- if include "rookery.jwksConfigMap" . }}
# The whole folder, no subPath: only so does a change of the ConfigMap arrive, and the program reads it again by itself.
- name: jwks
  mountPath: /etc/rookery/jwks
  readOnly: true
{{- end }}
{{- end -}}

{{/* (dict "root" $ "component" "node") */}}
{{- define "rookery.sharedVolumes" -}}
- name: secrets
  projected:
    # Of root and the pods' group (fsGroup), for nobody else.
    defaultMode: 0440
    sources:
      {{- if .root.Values.auth.hs256.enabled }}
      - secret:
          name: {{ include "rookery.jwtSecretName" .root }}
          items:
            - key: {{ include "rookery.jwtSecretKey" .root }}
              path: jwt-secret
      {{- end }}
      - secret:
          name: {{ include "rookery.clusterKeyName" .root }}
          items:
            - key: {{ ternary .root.Values.clusterKey.existingSecretKey "cluster-key" (not (empty .root.Values.clusterKey.existingSecret)) }}
              path: cluster-key
      - secret:
          name: {{ include "rookery.redisUrlsName" .root }}
          items:
            - key: {{ ternary .root.Values.redis.external.existingSecretKey "redis-urls" (not (empty .root.Values.redis.external.existingSecret)) }}
              path: redis-urls
{{- with include "rookery.jwksConfigMap" .root }}
- name: jwks
  configMap:
    name: {{ . }}
{{- end }}
{{- end -}}

{{/* Pods start anew when a secret that the values hold changes. Secrets made by the chart never change; those of yours it cannot
     see (`kubectl rollout restart` after a change); the JWKS document is read again without a restart. */}}
{{- define "rookery.checksums" -}}
checksum/secrets: {{ list .Values.auth.hs256.secret .Values.clusterKey.key .Values.redis.external.urls | toJson | sha256sum }}
{{- end -}}

{{/* What the schema cannot say. */}}
{{- define "rookery.refusals" -}}
{{- $external := or .Values.redis.external.urls .Values.redis.external.existingSecret -}}
{{- if and .Values.redis.external.urls .Values.redis.external.existingSecret -}}
{{- fail "redis.external: give urls or existingSecret, not both" -}}
{{- end -}}
{{- if and .Values.redis.internal.enabled $external -}}
{{- fail "redis: external is given, so set redis.internal.enabled=false" -}}
{{- end -}}
{{- if not (or .Values.redis.internal.enabled $external) -}}
{{- fail "redis: give redis.external.urls or redis.external.existingSecret, or set redis.internal.enabled=true" -}}
{{- end -}}
{{- if and .Values.redis.internal.enabled .Values.redis.external.cluster -}}
{{- fail "redis.external.cluster=true needs an external Redis: the chart's own is a single server" -}}
{{- end -}}
{{- if and .Values.redis.internal.enabled (eq .Values.cluster.commitLevel "replicated") -}}
{{- fail "cluster.commitLevel=replicated needs an external Redis: the chart's own has no replica, so every send would be refused" -}}
{{- end -}}
{{- if and .Values.auth.jwks.keys .Values.auth.jwks.existingConfigMap -}}
{{- fail "auth.jwks: give keys or existingConfigMap, not both" -}}
{{- end -}}
{{- if not (or .Values.auth.hs256.enabled (include "rookery.jwksConfigMap" .)) -}}
{{- fail "auth: no token could be verified; set auth.hs256.enabled=true or give auth.jwks" -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) -}}
{{- fail "ingress.hosts: name at least one host" -}}
{{- end -}}
{{- if gt (int .Values.cluster.expectNodes) (int .Values.node.replicas) -}}
{{- fail "cluster.expectNodes is more than node.replicas: the cluster would wait for ever" -}}
{{- end -}}
{{- if lt (int .Values.router.terminationGracePeriodSeconds) (int (add .Values.router.preStopSleepSeconds 12)) -}}
{{- fail "router.terminationGracePeriodSeconds must be at least 12 more than router.preStopSleepSeconds: a stop takes 10s" -}}
{{- end -}}
{{- if gt (int .Values.router.autoscaling.minReplicas) (int .Values.router.autoscaling.maxReplicas) -}}
{{- fail "router.autoscaling.minReplicas is more than maxReplicas" -}}
{{- end -}}
{{- $running := lookup "apps/v1" "StatefulSet" .Release.Namespace (printf "%s-node" (include "rookery.fullname" .)) -}}
{{- if $running -}}
{{- $shards := dig "metadata" "annotations" "rookery/shards" "" $running -}}
{{- if and $shards (ne $shards (toString .Values.cluster.shards)) -}}
{{- fail (printf "cluster.shards: this cluster was made with %s, not %v; the number is fixed" $shards .Values.cluster.shards) -}}
{{- end -}}
{{- end -}}
{{- end -}}
