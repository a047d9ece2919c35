{{- define "moorage.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* 50 characters: the longest suffix of an object, -sealing-keys, still fits a label. */}}
{{- define "moorage.fullname" -}}
{{- $name := include "moorage.name" . -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/* What all pods of this release share; what tells the servers from the test is the component. */}}
{{- define "moorage.identity" -}}
app.kubernetes.io/name: {{ include "moorage.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "moorage.selectorLabels" -}}
{{ include "moorage.identity" . }}
app.kubernetes.io/component: server
{{- end -}}

{{- define "moorage.commonLabels" -}}
{{ include "moorage.identity" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "moorage.labels" -}}
{{ include "moorage.commonLabels" . }}
app.kubernetes.io/component: server
{{- end -}}

{{- define "moorage.testLabels" -}}
{{ include "moorage.commonLabels" . }}
app.kubernetes.io/component: test
{{- end -}}

{{- define "moorage.image" -}}
{{- $tag := .Values.image.tag | default .Chart.AppVersion -}}
{{- with .Values.image.digest -}}
{{ $.Values.image.repository }}@{{ . }}
{{- else -}}
{{ .Values.image.repository }}:{{ $tag }}
{{- end -}}
{{- end -}}

{{- define "moorage.serviceAccountName" -}}
{{- $own := ternary (include "moorage.fullname" .) "default" .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default $own -}}
{{- end -}}

{{/* The Secret with the hashed keys. */}}
{{- define "moorage.apiKeysSecret" -}}
{{- .Values.auth.existingSecret | default (printf "%s-api-keys" (include "moorage.fullname" .)) -}}
{{- end -}}

{{/* The Secret with the keys that seal session ids. */}}
{{- define "moorage.sealingKeysSecret" -}}
{{- .Values.sealing.existingSecret | default (printf "%s-sealing-keys" (include "moorage.fullname" .)) -}}
{{- end -}}

{{/* The ConfigMap that is mounted under /srv/tools; empty when the image brings the tools. */}}
{{- define "moorage.toolsConfigMap" -}}
{{- $own := empty .Values.tools.files | ternary "" (printf "%s-tools" (include "moorage.fullname" .)) -}}
{{- .Values.tools.configMap | default $own -}}
{{- end -}}

{{- define "moorage.target" -}}
{{- $files := keys .Values.tools.files -}}
{{- $only := eq (len $files) 1 | ternary (printf "/srv/tools/%s" (first $files)) "" -}}
{{- .Values.target | default $only -}}
{{- end -}}

{{/* The names under which clients inside the cluster ask for the Service. */}}
{{- define "moorage.serviceHosts" -}}
{{- $name := include "moorage.fullname" . -}}
{{- $local := printf "%s.%s" $name .Release.Namespace -}}
{{- list $name $local (printf "%s.svc" $local) (printf "%s.svc.cluster.local" $local) | toJson -}}
{{- end -}}

{{/* Those under which the admin port is asked for by name; probes and the scraper ask for the pod's address. */}}
{{- define "moorage.adminHosts" -}}
{{- $name := printf "%s-admin" (include "moorage.fullname" .) -}}
{{- $local := printf "%s.%s" $name .Release.Namespace -}}
{{- ternary (list $name $local (printf "%s.svc" $local) (printf "%s.svc.cluster.local" $local)) list .Values.metrics.serviceMonitor.enabled | toJson -}}
{{- end -}}

{{- define "moorage.ingressHosts" -}}
{{- .Values.ingress.enabled | ternary .Values.ingress.hosts list | toJson -}}
{{- end -}}

{{/* config.yaml: `config` and what follows from other values. */}}
{{- define "moorage.config" -}}
{{- $given := dig "security" "allowed_hosts" list .Values.config -}}
{{- $hosts := concat $given (include "moorage.ingressHosts" . | fromJsonArray) (include "moorage.serviceHosts" . | fromJsonArray) | uniq -}}
{{- $security := dict "allowed_hosts" $hosts "allow_anonymous" (not .Values.auth.enabled) -}}
{{- $server := dict "replicas" (include "moorage.mostReplicas" . | int) -}}
{{- $prefix := dict "store" (dict "prefix" (include "moorage.storePrefix" .)) -}}
{{- $store := ternary dict $prefix (empty (include "moorage.storeSecret" .)) -}}
{{- $monitoring := concat (dig "admin" "allowed_hosts" list .Values.config) (include "moorage.adminHosts" . | fromJsonArray) | uniq -}}
{{- $admin := dict "allowed_hosts" $monitoring -}}
{{- mergeOverwrite $store (deepCopy .Values.config) (dict "security" $security "server" $server "admin" $admin) | toYaml -}}
{{- end -}}

{{/* What of it makes pods roll: of their number only whether there are several, and that without a store, where pods behave otherwise then. */}}
{{- define "moorage.configThatRolls" -}}
{{- $config := include "moorage.config" . | fromYaml -}}
{{- $several := and (gt (include "moorage.mostReplicas" . | int) 1) (not (include "moorage.storeSecret" .)) -}}
{{- $_ := set $config.server "replicas" (ternary "several" "one" $several) -}}
{{- toYaml $config -}}
{{- end -}}

{{/* As many pods as there may be; at least one. */}}
{{- define "moorage.mostReplicas" -}}
{{- ternary .Values.autoscaling.maxReplicas .Values.replicaCount .Values.autoscaling.enabled | max 1 -}}
{{- end -}}

{{- define "moorage.drainSeconds" -}}
{{- add .Values.drain.preStopSeconds (ceil .Values.config.drain.budget_seconds) 10 -}}
{{- end -}}

{{/* The hash of an object that the chart does not write; empty while it is not there or the chart is only rendered. */}}
{{- define "moorage.lookupChecksum" -}}
{{- with lookup "v1" .kind .namespace .name -}}
{{- pick . "data" "binaryData" | toJson | sha256sum -}}
{{- end -}}
{{- end -}}

{{- define "moorage.podSecurityContext" -}}
runAsNonRoot: true
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "moorage.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "moorage.url" -}}
{{- $host := first (include "moorage.ingressHosts" . | fromJsonArray | default (list "")) -}}
{{- $public := printf "%s://%s/mcp" (ternary "https" "http" .Values.ingress.tls.enabled) $host -}}
{{- empty $host | ternary "http://127.0.0.1:8000/mcp" $public -}}
{{- end -}}

{{/* Traefik reads the wish for a sticky cookie from the Service. */}}
{{- define "moorage.serviceAnnotations" -}}
{{- $sticky := "traefik.ingress.kubernetes.io/service.sticky.cookie" -}}
{{- $annotations := dict -}}
{{- if and .Values.ingress.enabled .Values.ingress.stickyCookie.enabled -}}
{{- $secure := toString .Values.ingress.tls.enabled -}}
{{- $annotations = dict $sticky "true" (printf "%s.name" $sticky) .Values.ingress.stickyCookie.name (printf "%s.httponly" $sticky) "true" (printf "%s.secure" $sticky) $secure (printf "%s.samesite" $sticky) "lax" -}}
{{- end -}}
{{- with merge (deepCopy .Values.service.annotations) $annotations -}}{{ toYaml . }}{{- end -}}
{{- end -}}

{{- define "moorage.ingressAnnotations" -}}
{{- $annotations := deepCopy .Values.ingress.annotations -}}
{{- if .Values.ingress.tls.enabled -}}
{{- with .Values.ingress.tls.issuer }}{{ $_ := set $annotations "cert-manager.io/issuer" . }}{{ end -}}
{{- with .Values.ingress.tls.clusterIssuer }}{{ $_ := set $annotations "cert-manager.io/cluster-issuer" . }}{{ end -}}
{{- end -}}
{{- with $annotations }}{{ toYaml . }}{{ end -}}
{{- end -}}

{{/* Where `helm test` finds a key's text, if anywhere. */}}
{{- define "moorage.testToken" -}}
{{- $secret := .Values.tests.tokenSecret -}}
{{- if and .Values.auth.enabled (not .Values.auth.existingSecret) -}}
{{- $secret = dict "name" (printf "%s-api-key" (include "moorage.fullname" .)) "key" "token" -}}
{{- end -}}
{{- with $secret.name }}{{ toYaml $secret }}{{ end -}}
{{- end -}}

{{/* The autoscaler's number is kept as it is found: left out where Helm wrote it before, it would fall to 1 (server-side apply). */}}
{{- define "moorage.replicas" -}}
{{- $found := lookup "apps/v1" "Deployment" .Release.Namespace (include "moorage.fullname" .) -}}
{{- .Values.autoscaling.enabled | ternary (dig "spec" "replicas" "" $found) .Values.replicaCount -}}
{{- end -}}
