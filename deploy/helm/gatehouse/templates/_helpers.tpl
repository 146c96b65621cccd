{{- define "gatehouse.name" -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "gatehouse.selector" -}}
app.kubernetes.io/name: gatehouse
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "gatehouse.labels" -}}
{{ include "gatehouse.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end -}}

{{- define "gatehouse.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{- define "gatehouse.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "gatehouse.name" .) }}
{{- end -}}

{{- define "gatehouse.config" -}}
listen: 0.0.0.0:4180
ops_listen: 0.0.0.0:4181
data: /data
database: file:///etc/gatehouse/secrets/database-url
pepper: file:///etc/gatehouse/secrets/pepper
kek: file:///etc/gatehouse/secrets/kek
{{- if .Values.tls.secretName }}
tls:
  cert: /etc/gatehouse/tls/tls.crt
  key: /etc/gatehouse/tls/tls.key
{{- end }}
{{- with .Values.config }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "gatehouse.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "gatehouse.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "gatehouse.mounts" -}}
- {name: config, mountPath: /etc/gatehouse/gatehouse.yaml, subPath: gatehouse.yaml, readOnly: true}
- {name: secrets, mountPath: /etc/gatehouse/secrets, readOnly: true}
{{- if .Values.tls.secretName }}
- {name: tls, mountPath: /etc/gatehouse/tls, readOnly: true}
{{- end }}
{{- end -}}

{{- define "gatehouse.volumes" -}}
- name: config
  configMap: {name: {{ include "gatehouse.name" . | quote }}}
- name: secrets
  secret:
    secretName: {{ .Values.secret.name | quote }}
    defaultMode: 0440
    items:
    - {key: {{ .Values.secret.pepper | quote }}, path: pepper}
    - {key: {{ .Values.secret.kek | quote }}, path: kek}
    - {key: {{ .Values.secret.databaseURL | quote }}, path: database-url}
{{- if .Values.tls.secretName }}
- name: tls
  secret: {secretName: {{ .Values.tls.secretName | quote }}, defaultMode: 0440}
{{- end }}
{{- end -}}
