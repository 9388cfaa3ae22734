{{- /*
A native sidecar, for `initContainers` of an application's Pods, and its volumes. In a chart that depends on this one with
`sidecar: { enabled: true }`:

    spec:
      terminationGracePeriodSeconds: 60
      initContainers:
        {{- include "sluice.sidecar" .Subcharts.sluice | nindent 8 }}
      volumes:
        {{- include "sluice.sidecar.volumes" .Subcharts.sluice | nindent 8 }}
*/}}
{{- define "sluice.sidecar" -}}
- name: sluice
  image: {{ include "sluice.image" . }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  # What makes it a sidecar: it goes on running while the application does, and does not keep a Job from ending.
  restartPolicy: Always
  args: [run, --config, /etc/sluice/sluice.yaml, --log-format, json]
  {{- include "sluice.environment" .Values.sidecar | indent 2 }}
  ports:
    - { name: sluice-health, containerPort: 13133 }
  startupProbe:
    httpGet: { path: /readyz, port: sluice-health }
    periodSeconds: 1
    failureThreshold: 60
  livenessProbe:
    httpGet: { path: /healthz, port: sluice-health }
    periodSeconds: 10
  resources:
    {{- toYaml .Values.sidecar.resources | nindent 4 }}
  securityContext:
    {{- include "sluice.securityContext" . | nindent 4 }}
  volumeMounts:
    - { name: sluice-state, mountPath: /var/lib/sluice }
    - { name: sluice-config, mountPath: /etc/sluice, readOnly: true }
{{- end }}

{{- define "sluice.sidecar.volumes" -}}
- name: sluice-state
  emptyDir: { sizeLimit: {{ .Values.sidecar.storage }} }
- name: sluice-config
  configMap: { name: {{ include "sluice.name" . }}-sidecar }
{{- end }}
