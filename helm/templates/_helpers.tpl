{{/* Names, labels, and what node and router share. */}}

{{- define "rookery.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* A text as the beginning of names that Kubernetes takes everywhere (a DNS label that starts with a letter): at most 40
     characters, because pods add the names of their kind and a hash, and a label holds 63. What has to be changed for that ends
     with a hash of the whole text, so that two texts that begin alike stay two names. */}}
{{- define "rookery.dns" -}}
{{- $clean := regexReplaceAll "[^a-z0-9-]+" (lower .) "-" | trimAll "-" -}}
{{- if not (regexMatch "^[a-z]" $clean) -}}
{{- $clean = printf "r-%s" $clean -}}
{{- end -}}
{{- if and (eq $clean .) (le (len $clean) 40) -}}
{{- $clean -}}
{{- else -}}
{{- printf "%s-%s" ($clean | trunc 31 | trimSuffix "-") (. | sha256sum | trunc 8) -}}
{{- end -}}
{{- end -}}

{{- define "rookery.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- include "rookery.dns" .Values.fullnameOverride -}}
{{- else if contains (include "rookery.name" .) .Release.Name -}}
{{- include "rookery.dns" .Release.Name -}}
{{- else -}}
{{- include "rookery.dns" (printf "%s-%s" .Release.Name (include "rookery.name" .)) -}}
{{- end -}}
{{- end -}}

{{/* Labels of an object: (dict "root" $ "component" "node"). */}}
{{- define "rookery.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: rookery
{{ include "rookery.selector" . }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels of pods: none that a new version of chart or program changes by itself, because every change starts the pods anew. */}}
{{- define "rookery.podLabels" -}}
app.kubernetes.io/part-of: rookery
{{ include "rookery.selector" . }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* What never changes about the pods of a component. */}}
{{- define "rookery.selector" -}}
app.kubernetes.io/name: {{ include "rookery.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "rookery.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "rookery.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* repository:tag or repository@digest: (dict "image" … "tag" "used when none is given"). */}}
{{- define "rookery.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ default .tag .image.tag }}
{{- end -}}
{{- end -}}

{{- define "rookery.pullSecrets" -}}
{{- with .Values.image.pullSecrets -}}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Of every pod: no root, and files on volumes for its own group. What is null in the values is left to the platform. */}}
{{- define "rookery.podSecurityContext" -}}
runAsNonRoot: true
{{- with .Values.podSecurityContext.runAsUser }}
runAsUser: {{ int64 . }}
{{- end }}
{{- with .Values.podSecurityContext.runAsGroup }}
runAsGroup: {{ int64 . }}
{{- end }}
{{- with .Values.podSecurityContext.fsGroup }}
fsGroup: {{ int64 . }}
fsGroupChangePolicy: OnRootMismatch
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* Of every container: nothing that a process over sockets and files does not need. */}}
{{- define "rookery.securityContext" -}}
runAsNonRoot: true
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Pods of a component apart from each other: (dict "root" $ "component" "node" "of" .Values.node). */}}
{{- define "rookery.affinity" -}}
{{- $term := dict "topologyKey" .of.antiAffinityTopology "labelSelector" (dict "matchLabels" (include "rookery.selector" . | fromYaml)) -}}
{{- $apart := dict -}}
{{- if eq .of.antiAffinity "hard" -}}
{{- $apart = dict "podAntiAffinity" (dict "requiredDuringSchedulingIgnoredDuringExecution" (list $term)) -}}
{{- else if eq .of.antiAffinity "soft" -}}
{{- $apart = dict "podAntiAffinity" (dict "preferredDuringSchedulingIgnoredDuringExecution" (list (dict "weight" 100 "podAffinityTerm" $term))) -}}
{{- end -}}
{{- with mergeOverwrite $apart (deepCopy .of.affinity) -}}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Where pods may run, as their owner wishes. */}}
{{- define "rookery.placement" -}}
{{- $lines := dict -}}
{{- range $key := list "nodeSelector" "tolerations" "topologySpreadConstraints" "priorityClassName" -}}
{{- with get $ $key -}}
{{- $_ := set $lines $key . -}}
{{- end -}}
{{- end -}}
{{- with $lines -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}

{{/* A secret that is given, or was made by an earlier install, or is made now: (dict "root" $ "object" name "key" key "given" text). */}}
{{- define "rookery.kept" -}}
{{- $stored := lookup "v1" "Secret" .root.Release.Namespace .object -}}
{{- if .given -}}
{{- .given -}}
{{- else if and $stored $stored.data (hasKey $stored.data .key) -}}
{{- index $stored.data .key | b64dec -}}
{{- else -}}
{{- randAlphaNum 48 -}}
{{- end -}}
{{- end -}}
