{{- define "collector.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" }}
{{- end }}

{{/* The name of all objects. 52 characters: a StatefulSet adds a hash to it, and a CronJob a time. */}}
{{- define "collector.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains (include "collector.name" .) .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "collector.name" .) | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "collector.selectorLabels" -}}
app.kubernetes.io/name: {{ include "collector.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "collector.labels" -}}
{{ include "collector.selectorLabels" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "collector.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "collector.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* The pod of the StatefulSet and of the CronJob. */}}
{{- define "collector.pod" -}}
metadata:
  labels:
    {{- include "collector.selectorLabels" . | nindent 4 }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .Values.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "collector.serviceAccountName" . }}
  # It does not call Kubernetes. EKS mounts the token that AWS wants by itself.
  automountServiceAccountToken: false
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- if .Values.cronJob.enabled }}
  restartPolicy: Never
  {{- end }}
  terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: {type: RuntimeDefault}
  containers:
    - name: collector
      image: "{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}"
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [run{{ if .Values.cronJob.enabled }}, --once{{ end }}]
      env:
        - {name: COLLECTOR_CONFIG, value: /etc/collector/config.yaml}
        - {name: COLLECTOR_DATA_DIR, value: /data}
        - {name: COLLECTOR_LISTEN, value: ":9420"}
        {{- if or .Values.aws.irsaRoleARN .Values.aws.podIdentity }}
        - {name: AWS_EC2_METADATA_DISABLED, value: "true"}
        {{- end }}
        {{- with .Values.env }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- if not .Values.cronJob.enabled }}
      ports:
        - {name: http, containerPort: 9420, protocol: TCP}
      # The migration of a large store may take minutes, and the listener waits for it.
      startupProbe:
        httpGet: {path: /-/healthy, port: http, scheme: {{ .Values.scheme }}}
        periodSeconds: 5
        failureThreshold: 120
      livenessProbe:
        httpGet: {path: /-/healthy, port: http, scheme: {{ .Values.scheme }}}
        periodSeconds: 30
        timeoutSeconds: 5
      readinessProbe:
        httpGet: {path: /-/ready, port: http, scheme: {{ .Values.scheme }}}
        periodSeconds: 15
        timeoutSeconds: 5
      {{- end }}
      {{- with .Values.resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      volumeMounts:
        - {name: data, mountPath: /data}
        # The folder and not the file: a mounted file is not replaced when the ConfigMap changes.
        - {name: config, mountPath: /etc/collector, readOnly: true}
        {{- if or .Values.secrets .Values.existingSecret }}
        - {name: secrets, mountPath: /run/secrets/collector, readOnly: true}
        {{- end }}
  volumes:
    - name: config
      configMap: {name: {{ default (include "collector.fullname" .) .Values.existingConfigMap }}}
    {{- if or .Values.secrets .Values.existingSecret }}
    - name: secrets
      secret:
        secretName: {{ default (include "collector.fullname" .) .Values.existingSecret }}
        defaultMode: 0440
    {{- end }}
    {{- if not .Values.persistence.enabled }}
    - name: data
      emptyDir: {}
    {{- else if .Values.cronJob.enabled }}
    - name: data
      persistentVolumeClaim: {claimName: {{ include "collector.fullname" . }}-data}
    {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/* The claim of /data, without a name. */}}
{{- define "collector.claim" -}}
accessModes:
  {{- toYaml .Values.persistence.accessModes | nindent 2 }}
{{- with .Values.persistence.storageClass }}
storageClassName: {{ . }}
{{- end }}
resources:
  requests: {storage: {{ .Values.persistence.size }}}
{{- end }}
