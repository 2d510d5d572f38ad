export interface Finding {
  check: string;
  /** Only a fault makes the doctor's exit code 1. */
  state: 'ok' | 'warning' | 'fault';
  message: string;
}

export const ok = (check: string, message: string): Finding => ({ check, state: 'ok', message });
export const warning = (check: string, message: string): Finding => ({ check, state: 'warning', message });
export const fault = (check: string, message: string): Finding => ({ check, state: 'fault', message });
